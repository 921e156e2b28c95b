"""Task families for meta-learning: environments that differ in a task, drawn anew for each meta-iteration."""
