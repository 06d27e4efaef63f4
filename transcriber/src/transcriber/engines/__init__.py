"""What recognises speech, behind one protocol (`base`), chosen in one table (`registry`)."""
