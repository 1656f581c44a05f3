"""Wire: the shapes that leave the process, shared by server and client; pure functions, no I/O."""
