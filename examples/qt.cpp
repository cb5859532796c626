// qt SERVER [ARGUMENT...]: list the tools of an MCP server in a Qt event loop, read by Qt's JSON.
// c++ -std=c++17 -fPIC qt.cpp $(pkg-config --cflags --libs Qt5Core) -lleash; ./a.out mcp-server-everything stdio
#include <QCoreApplication>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QSocketNotifier>
#include <QTextStream>
#include <leash.hpp>

namespace {

using namespace std::chrono_literals;

// Payloads come as bytes: any parser can read them, from where they are.
QJsonObject object(const leash::event &e) {
  std::string_view json = e.json();
  return QJsonDocument::fromJson(QByteArray::fromRawData(json.data(), static_cast<int>(json.size()))).object();
}

class tools : public QSocketNotifier {
 public:
  explicit tools(leash::connection server)
      : QSocketNotifier(server.fd(), QSocketNotifier::Read), server_(std::move(server)) {
    connect(this, &QSocketNotifier::activated, this, [this] { take(); });
  }

 private:
  enum tag { initialize = 1, list };

  // One event a turn: the notifier fires again as long as there is another.
  void take() {
    auto taken = server_.try_poll(0s);
    if (!taken || !*taken) return;
    leash::event &e = **taken;
    switch (e.kind()) {
      case leash::kind::open:
        check(server_.try_submit("initialize", R"({"protocolVersion":"2025-06-18","capabilities":{},
          "clientInfo":{"name":"qt","version":"1"}})", 10s, initialize));
        break;
      case leash::kind::response: answered(e); break;
      case leash::kind::request: check(e.try_reply_error(-32601, "not here")); break;
      case leash::kind::closed:
        setEnabled(false);
        QCoreApplication::exit(is_done_ ? 0 : 1);
        break;
      default: break;
    }
  }

  void answered(const leash::event &e) {
    if (e.status() != leash::code::ok) {
      fail(e.failure());
    } else if (e.tag() == initialize) {
      check(server_.try_notify("notifications/initialized"));
      check(server_.try_submit("tools/list", "{}", 10s, list));
    } else {
      for (const QJsonValue tool : object(e)["tools"].toArray())
        QTextStream(stdout) << tool["name"].toString() << ": " << tool["description"].toString() << "\n";
      is_done_ = true;
      (void)server_.try_close(0s);
    }
  }

  // Qt's loop is no place for exceptions: the try_ forms give results.
  template <class T>
  void check(const leash::result<T> &result) {
    if (!result) fail(result.error());
  }

  void fail(const leash::error &error) {
    QTextStream(stderr) << error.what() << "\n";
    (void)server_.try_close(0s);  // begins; CLOSED comes by the loop
  }

  leash::connection server_;
  bool is_done_ = false;
};

}  // namespace

int main(int argc, char **argv) try {
  if (argc < 2) return QTextStream(stderr) << "usage: qt SERVER [ARGUMENT...]\n", 2;
  QCoreApplication app(argc, argv);
  auto options = leash::options().protocol(leash::protocol::mcp).exit_after(300ms);
  // No time to connect in: OPEN or CLOSED comes by the loop.
  tools notifier(leash::connection::open({argc - 1, argv + 1}, options, 0ms));
  return app.exec();
} catch (const leash::error &error) {
  QTextStream(stderr) << error.what() << "\n";
  return 1;
}
