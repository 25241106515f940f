"""The saliency map: what each token is worth, as a web page and in the terminal."""
