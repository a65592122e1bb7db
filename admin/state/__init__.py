"""What outlives a process: live state, the document set through the API, tokens and the audit log."""
