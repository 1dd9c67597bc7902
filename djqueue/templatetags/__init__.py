"""Tags of the admin's templates. Not here: tags for the templates of projects."""
