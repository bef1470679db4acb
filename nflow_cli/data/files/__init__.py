"""Files of tables, read and written: formats, text, numbers, dates."""
