"""Reports that people look at: one HTML file each, with its plots, that loads nothing."""
