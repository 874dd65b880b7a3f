"""Second readings of the rules, written without the engine: slow, plain, and asked one instant at a time.

`hubspot` and `programme` are that programme's six rulebooks in Python, from the facts alone. `language`, `facts`, `reading` and `standing`
read any rulebook's text. They raise `Unread` for a word of the language, a kind of fact or a policy that they do not know.
"""
