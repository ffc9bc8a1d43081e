"""Services that hold models elsewhere: how they are reached, what they cost, how long they last."""
