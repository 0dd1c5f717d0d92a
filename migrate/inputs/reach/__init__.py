"""What inputs reach in a graph: places where it acts one way or another, and a search for inputs that reach more."""
