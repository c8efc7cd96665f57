"""Published weights: their catalogue, files and loading, and the export of our own initialisations."""
