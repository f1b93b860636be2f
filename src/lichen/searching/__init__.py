"""``lichen select``: a search over settings, from its file to its report; it joins the rooms, and no room knows it."""
