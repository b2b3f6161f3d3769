"""Wire formats, pure: Jupyter messages, the supervisor's and the document's protocol."""
