// keeps the library non-empty until its first file arrives
