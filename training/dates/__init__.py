"""The recipe of the embedded transducer `dates`: however people write a day, the day as YYYY-MM-DD."""
