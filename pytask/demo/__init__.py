"""`pytask demo`: a private server, two workers as processes, and a story that shows what pytask does."""
