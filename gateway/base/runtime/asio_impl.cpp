// The one translation unit that holds Boost.Asio's and Beast's compiled parts (separate compilation
// halves the build time of every file that uses coroutines).
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
