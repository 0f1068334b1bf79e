"""A finished run in; what every part of its report says, ready for the template, out."""
