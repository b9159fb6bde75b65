"""What every integration shares: the life of an LLM call in the user's process.

Reading a request (`body`), asking and telling (`calls`), putting a decision on a
request (`apply`), counting what is covered (`coverage`), and the wall between
Headway and its hosts (`guard`, `post_import`). Standard library and msgspec only.
"""
