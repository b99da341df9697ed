"""What daemon and worker share: the frames between them, the files a worker leaves, processes as /proc shows them."""
