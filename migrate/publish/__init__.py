"""What happens to a migrated model next: an archive, a page that describes it, a server. Loads no TensorFlow."""
