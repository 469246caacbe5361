#include "proxy/core/chunked.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

struct Outcome {
  ChunkedReader::State state = ChunkedReader::State::need_more;
  std::string data;
  std::size_t consumed = 0;
  std::vector<Field> trailers;
  std::string fault;
};

Outcome read(std::string_view bytes, std::size_t step) {
  ChunkedReader reader;
  Outcome out;
  while (!bytes.empty() && reader.state() == ChunkedReader::State::need_more) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    while (!piece.empty() && reader.state() == ChunkedReader::State::need_more) {
      const auto taken = reader.take(piece);
      out.data += taken.data;
      out.consumed += taken.consumed;
      piece.remove_prefix(taken.consumed);
    }
  }
  out.state = reader.state();
  out.trailers = reader.trailers();
  out.fault = reader.fault();
  return out;
}

// The outcome, which must be the same for every split.
Outcome read_all_ways(std::string_view bytes) {
  const Outcome whole = read(bytes, bytes.size());
  for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}}) {
    const Outcome parts = read(bytes, step);
    EXPECT_EQ(parts.state, whole.state) << bytes;
    EXPECT_EQ(parts.data, whole.data) << bytes;
    EXPECT_EQ(parts.consumed, whole.consumed) << bytes;
    EXPECT_EQ(parts.trailers, whole.trailers) << bytes;
  }
  return whole;
}

TEST(Chunked, GivesTheContentAndStopsAtItsEnd) {
  const auto out =
      read_all_ways("5\r\nhello\r\n1;name=\"v\"\r\n,\r\nA \r\n 123456789\r\n0\r\n\r\nGET /");
  EXPECT_EQ(out.state, ChunkedReader::State::done);
  EXPECT_EQ(out.data, "hello, 123456789");
  EXPECT_EQ(
      out.consumed,
      std::string_view("5\r\nhello\r\n1;name=\"v\"\r\n,\r\nA \r\n 123456789\r\n0\r\n\r\n").size());
}

TEST(Chunked, CollectsTrailers) {
  const auto out = read_all_ways("0\r\nDigest: abc \r\nX-Empty:\r\n\r\n");
  EXPECT_EQ(out.state, ChunkedReader::State::done);
  EXPECT_EQ(out.trailers, (std::vector<Field>{{"Digest", "abc"}, {"X-Empty", ""}}));
}

TEST(Chunked, PassesOnOnlyTrailersThatMayTrail) {
  EXPECT_EQ(last_chunk({{"Digest", "abc"},
                        {"Content-Length", "5"},
                        {"Transfer-Encoding", "chunked"},
                        {"Proxy-Authorization", "Basic x"},
                        {"HOST", "evil"}}),
            "0\r\nDigest: abc\r\n\r\n");
  EXPECT_EQ(last_chunk({}), "0\r\n\r\n");
  EXPECT_EQ(chunk_head(31), "1f\r\n");
}

TEST(Chunked, RefusesWhatTwoReadersCouldTakeDifferently) {
  const std::string huge(17, '1');
  for (const std::string bytes : {"\r\n",
                                  "x\r\n",
                                  "-1\r\n",
                                  "+5\r\nhello",
                                  "0x5\r\nhello",
                                  " 5\r\nhello",
                                  "5\nhello",
                                  "5\rhello",
                                  "5\r\r\nhello",
                                  "5\r\nhelloX",
                                  "5\r\nhello\n",
                                  "5\r\nhello\rX",
                                  "5,\r\nhello",
                                  "5;a\nb\r\n",
                                  "5;\x01\r\n",
                                  "FFFFFFFFFFFFFFFFF\r\n",
                                  "8000000000000000\r\n",
                                  "0\r\nno colon\r\n\r\n",
                                  "0\r\n folded: x\r\n\r\n",
                                  "0\r\na b: x\r\n\r\n",
                                  "0\r\nA: x\n\r\n",
                                  "0\r\nA: x\rB",
                                  "0\r\n: x\r\n",
                                  "5 5\r\nhello",
                                  "_5\r\n",
                                  "5h\r\n"})
    EXPECT_EQ(read_all_ways(bytes).state, ChunkedReader::State::failed) << bytes;
  EXPECT_EQ(read_all_ways(huge + "\r\n").state, ChunkedReader::State::failed);
}

TEST(Chunked, BoundsSizeLinesAndTrailers) {
  EXPECT_EQ(read_all_ways("5;" + std::string(300, 'a')).state, ChunkedReader::State::failed);
  std::string many = "0\r\n";
  for (int i = 0; i < 65; ++i)
    many += "A: b\r\n";
  EXPECT_EQ(read_all_ways(many).state, ChunkedReader::State::failed);
  EXPECT_EQ(read_all_ways("0\r\nA: " + std::string(17000, 'a')).state,
            ChunkedReader::State::failed);
}

TEST(Chunked, HoldsNothingOfTheContent) {
  ChunkedReader reader;
  const std::string bytes = "400\r\n" + std::string(1024, 'x');
  auto first = reader.take(bytes);
  EXPECT_EQ(first.data.size(), 1024U);
  EXPECT_EQ(first.data.data(), bytes.data() + 5);
}

}  // namespace
}  // namespace oceanid::proxy
