"""What a spec may say: one module an object. Each raises InvalidSpec with one line for the user.

The line says what is wrong, where, in the words of the flags, and what would be right. What this
release does not honour is refused by name, in `unsupported`.
"""
