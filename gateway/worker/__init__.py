"""What happens later: notifications, timeouts, unanswered questions, facts for the risk engine.

The database is the queue: every task is a row that is due, so nothing is lost with a process.
"""
