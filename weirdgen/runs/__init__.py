"""One run, before (plan), during (work) and after (results); `pipeline` joins them."""
