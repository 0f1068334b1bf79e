"""An experiment file in; a run folder, a report and a record out."""
