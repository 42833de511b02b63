"""Reports for people: one HTML file each, with plots, that needs no network."""
