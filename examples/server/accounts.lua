-- Accounts: who plays, and what they have. They outlive their connections, and every reload.

local accounts = {}

local by_name = {}

--- The account of that name, made where there is none.
function accounts.login(name)
  local account = by_name[name]
  if not account then
    account = { name = name, experience = 0, logins = 0 }
    by_name[name] = account
  end
  account.logins = account.logins + 1
  return account
end

function accounts.level(account)
  return 1 + account.experience // 100
end

--- A line about an account.
function accounts.describe(account)
  return ("%s, level %d"):format(account.name, accounts.level(account))
end

function accounts.count()
  local count = 0
  for _ in pairs(by_name) do count = count + 1 end
  return count
end

return accounts
