"""What the main of every worker is made of."""
