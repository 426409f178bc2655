"""Drives small web applications over HTTP and looks into the session store below them."""
