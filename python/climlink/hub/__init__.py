"""The Hugging Face hub: data sets come from it, packages go to it and come back."""
