"""What an operator does to a cluster while it is loaded and broken: the actions of a case."""
