"""The saliency map: what every token is worth, as a page in the browser and in the terminal."""
