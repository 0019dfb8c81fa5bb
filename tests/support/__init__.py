"""What tests share: servers and clusters, proxies, containers, the command line, evidence."""
