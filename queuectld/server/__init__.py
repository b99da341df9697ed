"""The wire side of the daemon: sockets, connections, and one handler per method. No logic of the queue."""
