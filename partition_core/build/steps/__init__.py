"""The steps of a build, a module each: what is imported to carry one out decides what it gives."""
