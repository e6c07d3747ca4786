"""What an export reads besides its recipe: recorded while it runs, checked at the next build."""
