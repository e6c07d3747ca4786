"""What an export reads besides its recipe: seen while it runs, asked again at the next build."""
