"""One file for each thing that is measured. Each function gives figures by name, or None for who takes no part."""
