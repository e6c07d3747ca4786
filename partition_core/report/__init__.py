"""A build as a page for people: figures in, one self-contained HTML file out; runs nothing."""
