"""The configuration: one TOML file in, one frozen value out, or every fault."""

from __future__ import annotations

from daemon.config.load import Config, default_config_path, load_config

__all__ = ["Config", "default_config_path", "load_config"]
