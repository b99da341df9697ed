"""The verbs: one file a noun. Each is loaded when its verb is used."""
