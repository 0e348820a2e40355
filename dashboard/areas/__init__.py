"""One file for each area of the console.

Not called ``pages``: Streamlit takes a folder of that name for pages of its own making and, when
a link is the first thing opened on a fresh server, shows an empty one instead of ours.
"""
