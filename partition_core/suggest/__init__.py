"""Where to cut: what each cut of a graph costs, and which cuts no other one beats."""
