"""Jobs as users write them: classes, functions, their options and their stored form."""
