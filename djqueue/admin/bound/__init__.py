"""Keys and chains on the page of a job, and the jobs that wait outside their store."""
