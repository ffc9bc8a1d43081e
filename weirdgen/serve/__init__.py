"""An OpenAI-compatible finetuning and chat server over weirdgen's own engines."""
