"""Files of runs: recipes, weights, checkpoints, foreign formats, downloads and archives."""
