"""What kernel_same.py is made of: the rows, how a kernel is started and talked to, how outcomes are compared."""
