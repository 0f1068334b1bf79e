"""An experiment file in; a plan checked against the real tables out."""
