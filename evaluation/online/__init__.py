"""Online evaluation: what runs did beside their reference."""
