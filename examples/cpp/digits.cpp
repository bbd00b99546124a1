// Classifies many images in several threads; each has a context of its own.
#include "digits_net.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

using Image = std::array<float, DIGITS_NET_INPUT0_ELEMENTS>;

// A context of the network, which ends with its scope.
class Network {
 public:
  Network() { check(digits_net_create(nullptr, &context)); }
  ~Network() { digits_net_destroy(context); }
  Network(const Network &) = delete;
  Network &operator=(const Network &) = delete;

  int digit(const Image &image) {
    std::array<float, DIGITS_NET_OUTPUT0_ELEMENTS> logits;
    const void *inputs[] = {image.data()};
    void *outputs[] = {logits.data()};
    check(digits_net_run(context, inputs, outputs));
    int best = 0;
    for (int i = 1; i < DIGITS_NET_OUTPUT0_ELEMENTS; i++)
      if (logits[i] > logits[best]) best = i;
    return best;
  }

 private:
  static void check(tvmcomp_status status) {
    if (status != TVMCOMP_OK) throw std::runtime_error(digits_net_status_text(status));
  }

  tvmcomp_context *context = nullptr;
};

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: digits THREADS IMAGES\n");
    return 2;
  }
  std::vector<Image> images;
  std::ifstream file(argv[2], std::ios::binary);
  for (Image image; file.read(reinterpret_cast<char *>(image.data()), sizeof image);)
    images.push_back(image);

  std::vector<int> digits(images.size());
  std::vector<std::thread> threads;
  const size_t count = static_cast<size_t>(std::stoi(argv[1]));
  for (size_t t = 0; t < count; t++)
    threads.emplace_back([&, t] {
      Network network;
      for (size_t i = t; i < images.size(); i += count) digits[i] = network.digit(images[i]);
    });
  for (auto &thread : threads) thread.join();
  for (int digit : digits) std::printf("%d\n", digit);
  return 0;
}
