// What the client's status bar shows, and the progress bar of a model that loads. Strand only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lsp/jsonrpc.h"
#include "lsp/model_host.h"

namespace cambium::lsp {

/// The progress bar of one model's loads.
class LoadBar {
 public:
  LoadBar(Peer& peer, std::shared_ptr<ModelHost> model, std::string token_prefix);
  ~LoadBar();
  LoadBar(const LoadBar&) = delete;
  LoadBar& operator=(const LoadBar&) = delete;

  void start() { started_ = true; }

 private:
  void update();

  /// The bar of one load: asked for, granted, shown.
  struct Progress {
    std::string token;
    bool granted = false;
    int percent = -1;
  };
  Peer& peer_;
  std::shared_ptr<ModelHost> model_;
  const std::string token_prefix_;
  int64_t subscription_ = 0;
  bool started_ = false;
  std::shared_ptr<Progress> progress_;
  int64_t next_token_ = 1;
};

class StatusReporter {
 public:
  /// `model` completes; of all `models` the loads are shown.
  StatusReporter(Peer& peer, std::shared_ptr<ModelHost> model,
                 const std::vector<std::shared_ptr<ModelHost>>& models);
  ~StatusReporter();

  /// From now on, changes are sent: a client may take nothing but answers before.
  void start(bool client_takes_progress);
  /// Why nothing is suggested in the document asked for last; both empty: something may be.
  void set_document(std::string off, std::string problem);
  void request_started();
  void request_ended();
  /// The last request failed; the next that does not clears it.
  void set_failure(std::string message);

 private:
  void update();
  Json current() const;

  Peer& peer_;
  std::shared_ptr<ModelHost> model_;
  int64_t subscription_ = 0;
  bool started_ = false;
  std::string off_, document_problem_, failure_, told_failure_;
  int running_ = 0;
  Json last_;
  std::vector<std::unique_ptr<LoadBar>> bars_;
};

}  // namespace cambium::lsp
